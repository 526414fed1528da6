"""Batch scoring: a partition's rows through the champion, recorded like a request's."""
