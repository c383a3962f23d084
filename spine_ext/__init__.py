"""What the SpineGAN paper adds to StyleGAN2-ADA: radiographs, labels, phantom, classifier, clinical term."""
