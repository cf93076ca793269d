"""The ways of learning: by one joint loss, against a critic, or by two networks in turn."""
