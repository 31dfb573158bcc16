"""The parts of `Resnet23.augment`: what is done to images, and the random numbers that say how much."""
