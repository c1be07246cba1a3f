"""Images in lane panels: pixels are lanes; padded planes, sliding windows, depthwise convolutions."""
