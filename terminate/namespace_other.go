//go:build !linux

package terminate

// namespace is none: only Linux has them.
const namespace = ""
