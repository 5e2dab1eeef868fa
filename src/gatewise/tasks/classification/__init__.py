"""Classification of texts: everything behind ``TextClassifier``."""
