"""What a fleet of segments costs."""
