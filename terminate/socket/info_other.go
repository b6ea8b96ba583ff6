//go:build !linux

package socket

// Over can't be told here.
func (r *relay) Over() bool { return false }

// Unsent can't be told here.
func (r *relay) Unsent() int { return 0 }
