"""The page of who writes no Python. `serve` starts it; `page`, `api`, `telling` know gradio."""
