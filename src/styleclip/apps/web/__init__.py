"""The page: what people who write no Python see. `serve` starts it; only `page` and `api` know gradio."""
