"""What the estimators of texts share: fields that say how texts are read and parted."""
