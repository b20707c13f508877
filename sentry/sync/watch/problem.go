package watch

import (
	"fmt"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TooManyDirsError says that there are more directories than can be watched. Those above the number are not: only the comparison that runs
// from time to time finds what changes there.
type TooManyDirsError struct {
	Limit int
	Dir   state.Path // the directory that holds most directories
	Held  int        // directories directly in Dir that are watched
}

func (e *TooManyDirsError) Error() string {
	return fmt.Sprintf("there are more than %d directories to watch, most (%d) directly in /%s: move them away, or leave that directory out",
		e.Limit, e.Held, e.Dir)
}

// UnwatchableError says that a directory cannot be watched. What changes there is found by the comparison that runs from time to time only.
type UnwatchableError struct {
	Dir state.Path
	Err error
}

func (e *UnwatchableError) Error() string {
	return fmt.Sprintf("changes in /%s cannot be noticed at once: %v", e.Dir, e.Err)
}

func (e *UnwatchableError) Unwrap() error { return e.Err }
