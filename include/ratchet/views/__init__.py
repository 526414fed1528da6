"""What the Models pages show: models, their versions, evidence and records, as plain values that JSON can hold."""
