"""The prediction service: models, routes, online features and request records."""
