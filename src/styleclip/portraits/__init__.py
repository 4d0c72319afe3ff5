"""The portraits world: drawn faces whose attributes and captions are known exactly."""
