"""What a `LanguageModel` is made of."""
