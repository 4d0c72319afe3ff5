"""The strokes behind `portraits.renderer`: pen, colours, face, hair, and what is worn."""
