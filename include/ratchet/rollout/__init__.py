"""The staged hand-over of production: states, traffic weights, sequential tests and the evidence they read."""
