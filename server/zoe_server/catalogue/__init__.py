"""What models exist: plain descriptions that routing, fleet and engines share."""
