"""Customer service: answers out of a folder of documents, cites them, and hands over to a person when unsure."""
