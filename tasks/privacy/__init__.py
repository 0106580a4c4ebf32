"""What is known of people: hidden where it comes in, found, exported and erased on demand."""
