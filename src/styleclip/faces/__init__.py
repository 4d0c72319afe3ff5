"""Networks that look at a face: what does it show, and whose is it?"""
