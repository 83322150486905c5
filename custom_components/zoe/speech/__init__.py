"""What is spoken: answers made speakable, and the integration's own sentences."""
