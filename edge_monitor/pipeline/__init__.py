"""One machine's way from blocks of audio to results."""
