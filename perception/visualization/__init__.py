"""Pictures: BEV plots, camera overlays, Open3D scenes, the HTML report."""
