package carry

import "errors"

// Placeholders until package history is merged.

type diverged interface{ Diverged() bool }

func isDiverged(err error) bool {
	var d diverged
	return errors.As(err, &d)
}

type replayed interface{ Replayed() bool }

func isReplayed(err error) bool {
	var d replayed
	return errors.As(err, &d)
}

var errMalformed = errors.New("malformed")

func isMalformed(err error) bool { return errors.Is(err, errMalformed) }

var errNotFound = errors.New("not found")

func isNotFound(err error) bool { return errors.Is(err, errNotFound) }
