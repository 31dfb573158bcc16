"""How stage 5 draws: the theme, the sentences that the titles state, charts, and galleries of images."""
