"""What a `Forecaster` is made of."""
