"""Taking a person out of everything that an installation holds of a model, with a certificate of what was done."""
