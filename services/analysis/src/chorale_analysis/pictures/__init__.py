"""Pictures of sound: what is drawn, and how it becomes PNG or SVG."""
