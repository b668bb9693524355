"""Replies of models: drafts, chat-template markup and repetition removed or refused."""
