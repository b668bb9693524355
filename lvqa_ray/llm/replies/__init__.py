"""Post-processing of model replies: strips drafts and chat-template markup, detects repetition."""
