"""The protocol of publication as a model: every order of the steps of three actors is tried."""
