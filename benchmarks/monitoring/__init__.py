"""Benchmarks of monitoring: false alarms, detection and speed."""
