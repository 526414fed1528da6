"""What is said, to whom, once: messages as Slack's Block Kit, kept in the store whether or not anybody listens."""
