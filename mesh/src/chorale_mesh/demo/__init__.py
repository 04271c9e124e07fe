"""`chorale demo`: a short song goes through every service, and a page shows what came of it."""
