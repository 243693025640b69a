"""Results: the S3 object is the truth, announcements on SQS save its readers a wait."""
