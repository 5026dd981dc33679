"""What operations do to labels of channels: one file a family, each rule registered under the names that it serves."""
