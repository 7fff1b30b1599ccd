"""The card agent: the card's door beside the reader. It speaks outwards only and opens no port."""

VERSION = "0.1.0"
