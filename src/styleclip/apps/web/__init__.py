"""The page of who writes no Python; `serve` starts it, and few modules know gradio."""
