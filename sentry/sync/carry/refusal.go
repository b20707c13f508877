package carry

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says why something was refused; stable, for tests and the sender.
type Code string

// Codes.
const (
	CodeProtocol  Code = "protocol"    // the servers do not understand each other
	CodeGarbage   Code = "garbage"     // not a message, or not the pack that was announced
	CodeNotReady  Code = "not-ready"   // no role yet, no set, or attestations cannot be had
	CodeRole      Code = "role"        // the caller is not attested as the primary with the set that it names
	CodePrimaries Code = "primaries"   // more than one server says that it is the primary
	CodeSite      Code = "site"        // another site
	CodeHello     Code = "hello"       // set or lineage are not those of the last hello: say hello first
	CodeLineage   Code = "lineage"     // the set's life ran apart from what this server had its state from
	CodeReplayed  Code = "replayed"    // older than what is here
	CodeDiverged  Code = "diverged"    // not a continuation of what is here
	CodeBase      Code = "base"        // builds on something else than what is here; the answer tells what is
	CodeBusy      Code = "busy"        // taking another pack into history
	CodeSize      Code = "size"        // larger than allowed
	CodeCut       Code = "cut"         // ended early or came too slowly
	CodeFull      Code = "full"        // no room on the disk set
	CodeFailed    Code = "failed"      // anything else that broke at the receiver
	CodeStopped   Code = "not-started" // this server is shutting down, or its role ended
)

// status of HTTP for each code.
func (c Code) status() int {
	switch c {
	case CodeGarbage, CodeCut:
		return http.StatusBadRequest
	case CodeNotReady, CodeStopped, CodeBusy:
		return http.StatusServiceUnavailable
	case CodeRole, CodePrimaries, CodeSite, CodeLineage:
		return http.StatusForbidden
	case CodeSize:
		return http.StatusRequestEntityTooLarge
	case CodeFull:
		return http.StatusInsufficientStorage
	case CodeFailed:
		return http.StatusInternalServerError
	case CodeProtocol:
		return http.StatusUpgradeRequired
	default:
		return http.StatusConflict
	}
}

// Refusal is what a receiver answers to what it does not take.
type Refusal struct {
	Code  Code
	Msg   string // for people
	state *State
}

func (r *Refusal) Error() string { return r.Msg }

func refuse(c Code, format string, args ...any) *Refusal {
	return &Refusal{Code: c, Msg: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of a refusal, or "" if err is none.
func CodeOf(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}
