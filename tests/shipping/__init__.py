"""What leaves the house: the wheel, the executable file, the image, and what is said about running them."""
