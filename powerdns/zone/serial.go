package zone

// SerialNewer reports whether serial a is newer than b in the arithmetic of RFC 1982 §3.2. Two serials that are 2^31
// apart have no order; neither is newer.
func SerialNewer(a, b uint32) bool {
	d := a - b
	return d != 0 && d < 1<<31
}
