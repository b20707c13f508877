// Package class is a stand-in until the real one is merged.
package class

// Class of a path.
type Class string

// Classes.
const (
	Shared  Class = "shared"
	Own     Class = "own"
	Derived Class = "derived"
	Ignored Class = "ignored"
)
