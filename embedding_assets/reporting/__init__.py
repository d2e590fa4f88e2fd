"""What `status` tells: the backlog, and the story of one batch. Facts are gathered apart from what they mean."""
