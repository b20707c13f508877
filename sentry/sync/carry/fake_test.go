package carry

import "errors"

type fakeDivergedError struct{ error }

func (fakeDivergedError) Diverged() bool { return true }

var fakeDiverged error = fakeDivergedError{errors.New("diverged")}
