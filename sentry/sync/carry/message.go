package carry

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Limits of messages in bytes, and of lists.
const (
	maxOffer    = 16 << 10
	maxHello    = 64 << 10
	maxAnswer   = 1 << 20
	maxNames    = 2048 // of lineages
	maxFindings = 200
	maxText     = 2000
)

// Point names a commit with its number along the line; the zero Point is "nothing yet".
type Point struct {
	ID  string `json:"id,omitempty"`
	Seq uint64 `json:"seq,omitempty"`
}

func pointOf(c state.Commit) Point { return Point{ID: c.ID, Seq: c.Seq} }

// Versions tell what a server runs.
type Versions struct {
	Image  string `json:"image"`  // version of ATLAS
	Debian string `json:"debian"` // release: "13"
}

// Hello is what a sender says first on every connection, and when it is idle.
type Hello struct {
	Protocol int    `json:"protocol"`
	Server   string `json:"server"`
	Versions
	Source
	Allowed Point `json:"allowed"` // up to which it may send
	// Apart: what the receiver has is not in the sender's history, so nothing can be sent.
	Apart bool `json:"apart,omitempty"`
	// Replace is a person's order on the sender's server, given while they are apart: its line takes the place of the receiver's, which is kept
	// under this name. "" = none.
	Replace state.Branch `json:"replace,omitempty"`
}

// Offer goes before each piece of a pack.
type Offer struct {
	Protocol int    `json:"protocol"`
	Server   string `json:"server"` // name; the receiver fills in whom the pin names
	Versions
	Site    string       `json:"site"`
	Set     string       `json:"set"`     // of the primary
	Lineage string       `json:"lineage"` // newest name of its lineage
	Branch  state.Branch `json:"branch"`
	Base    string       `json:"base,omitempty"` // what the pack builds on: the commit that the receiver has; "" = nothing
	Head    Point        `json:"head"`           // what it brings the receiver to
	Pack    string       `json:"pack"`           // SHA-256 of the whole pack, hex
	Size    int64        `json:"size"`           // of the whole pack
	Offset  int64        `json:"offset"`         // of this piece

	// Kept is the line under which what was here is kept, where the pack took its place. The receiver fills it in.
	Kept state.Branch `json:"-"`
}

// Partial is a pack of which the receiver keeps a part.
type Partial struct {
	Pack string `json:"pack"`
	Base string `json:"base,omitempty"`
	Head Point  `json:"head"`
	Size int64  `json:"size"`
	Got  int64  `json:"got"` // bytes that are here; the next piece begins there
}

// State is a receiver's answer: what it has.
type State struct {
	Protocol int    `json:"protocol"`
	Server   string `json:"server"`
	Versions
	Head    Point    `json:"head"`
	Parent  string   `json:"parent,omitempty"` // of Head: the sender may have amended Head, and know only this
	Partial *Partial `json:"partial,omitempty"`
	Busy    bool     `json:"busy,omitempty"`    // it is taking a pack into its history
	Replace bool     `json:"replace,omitempty"` // somebody ordered that the primary's line takes the place of the one that is here
}

// Stage is how far a receiver is with the newest state that it has.
type Stage string

// Stages.
const (
	Unknown    Stage = ""           // nothing was told since the receiver's daemon started
	Receiving  Stage = "receiving"  // also: received, and not taken up yet
	Converting Stage = "converting" // to this server's versions
	Checking   Stage = "checking"   // by the services' own checkers
	Applying   Stage = "applying"
	Probing    Stage = "probing" // the services
	InStep     Stage = "in step"
	Refused    Stage = "refused" // the findings tell why
)

// settled stages last until the next commit; all others must be followed by news.
func (s Stage) settled() bool { return s == InStep || s == Refused }

// Progress is what became of what a receiver got.
type Progress struct {
	Epoch    string            `json:"epoch"`    // N counts from 1 within it; another one after each start of the receiver's daemon
	N        uint64            `json:"n"`        //
	Head     Point             `json:"head"`     // received and durable
	Live     Point             `json:"live"`     // in step at
	State    Stage             `json:"state"`    // of Head
	Got      int64             `json:"got"`      // bytes of the pack that is arriving
	Size     int64             `json:"size"`     // 0 = none is
	Findings []initapi.Finding `json:"findings"` // what keeps Head from being live, and what else the receiver wants the primary to know
	At       time.Time         `json:"at"`       // by the receiver's clock
	Versions
}

// refusal is the answer to what is not taken.
type refusal struct {
	Error string `json:"error"`
	Code  Code   `json:"code"`
	State *State `json:"state,omitempty"`
}

var (
	commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)
	packID   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	keptName = regexp.MustCompile(`^kept-[0-9]{8}-[0-9]{6}$`)
	nameID   = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$`) // sites, sets, lineages, epochs
)

func (p Point) check() error {
	if p == (Point{}) {
		return nil
	}
	if !commitID.MatchString(p.ID) || p.Seq == 0 {
		return errors.New("a commit has no proper name or number")
	}
	return nil
}

// decodeHello decodes and checks a sender's first message. Fields of later versions of the same protocol are ignored.
func decodeHello(data []byte, own Versions) (Hello, error) {
	var h Hello
	if err := decode(data, &h, own); err != nil {
		return h, err
	}
	if err := errors.Join(h.check(), h.Allowed.check()); err != nil {
		return h, refuse(CodeGarbage, "the greeting cannot be understood: %v", err)
	}
	if h.Replace != "" && !keptName.MatchString(string(h.Replace)) {
		return h, refuse(CodeGarbage, "the greeting cannot be understood: a history is not kept under the name %q", clip(string(h.Replace), 40))
	}
	h.Versions = h.clean()
	return h, nil
}

// decodeOffer decodes and checks what goes before a piece.
func decodeOffer(data []byte, own Versions) (Offer, error) {
	var o Offer
	if err := decode(data, &o, own); err != nil {
		return o, err
	}
	garbage := func(what string) error { return refuse(CodeGarbage, "the offer cannot be understood: %s", what) }
	switch {
	case !nameID.MatchString(o.Site) || !nameID.MatchString(o.Set) || !nameID.MatchString(o.Lineage):
		return o, garbage("site, set or lineage is not a name")
	case o.Branch != state.Site:
		return o, garbage(fmt.Sprintf("branch %q never travels", clip(string(o.Branch), 40)))
	case o.Base != "" && !commitID.MatchString(o.Base):
		return o, garbage("what it builds on is not a commit")
	case o.Head.ID == "" || o.Head.check() != nil:
		return o, garbage("what it brings is not a commit")
	case !packID.MatchString(o.Pack):
		return o, garbage("the pack's checksum is not one")
	case o.Size <= 0 || o.Offset < 0 || o.Offset > o.Size:
		return o, garbage("size or place of the piece is impossible")
	}
	o.Versions = o.clean()
	return o, nil
}

// decode looks at the protocol first: of another one nothing else can be judged.
func decode(data []byte, out any, own Versions) error {
	var head struct {
		Protocol int    `json:"protocol"`
		Server   string `json:"server"`
		Versions
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return refuse(CodeGarbage, "the message cannot be understood: %v", err)
	}
	if err := checkProtocol(head.Protocol, head.clean(), own); err != nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return refuse(CodeGarbage, "the message cannot be understood: %v", err)
	}
	return nil
}

// checkProtocol tells, in words for whoever looks after the servers, that two of them do not understand each other.
func checkProtocol(theirs int, other, own Versions) error {
	switch {
	case theirs > Protocol:
		return refuse(CodeProtocol, "the other server runs a newer version of ATLAS (%s) that sends changes in a way which this server (%s) does not know yet; "+
			"update this server", other.word(), own.word())
	case theirs < Protocol:
		return refuse(CodeProtocol, "the other server runs an older version of ATLAS (%s) that sends changes in a way which this server (%s) does not use any more; "+
			"update the other server", other.word(), own.word())
	}
	return nil
}

func (v Versions) word() string {
	if v.Image == "" {
		return "version not told"
	}
	return v.Image
}

func (v Versions) clean() Versions {
	return Versions{Image: clip(v.Image, 64), Debian: clip(v.Debian, 64)}
}

// decodeState decodes and checks a receiver's answer.
func decodeState(data []byte, own Versions) (State, error) {
	var s State
	if err := decode(data, &s, own); err != nil {
		return s, err
	}
	if err := s.check(); err != nil {
		return s, fmt.Errorf("the answer cannot be understood: %w", err)
	}
	s.Versions = s.clean()
	return s, nil
}

func (s State) check() error {
	if p := s.Partial; p != nil {
		switch {
		case !packID.MatchString(p.Pack) || p.Base != "" && !commitID.MatchString(p.Base) || p.Head.ID == "" || p.Head.check() != nil:
			return errors.New("the part of a pack that it has is not described properly")
		case p.Got < 0 || p.Size <= 0 || p.Got > p.Size:
			return errors.New("the part of a pack that it has is of impossible size")
		}
	}
	if s.Parent != "" && !commitID.MatchString(s.Parent) {
		return errors.New("what its newest change builds on is not described properly")
	}
	return s.Head.check()
}

// decodeProgress decodes and checks a receiver's report.
func decodeProgress(data []byte) (Progress, error) {
	var p Progress
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("the report cannot be understood: %w", err)
	}
	switch p.State {
	case Unknown, Receiving, Converting, Checking, Applying, Probing, InStep, Refused:
	default:
		return p, fmt.Errorf("the report cannot be understood: state %q is unknown", clip(string(p.State), 40))
	}
	if err := errors.Join(p.Head.check(), p.Live.check()); err != nil || !nameID.MatchString(p.Epoch) || p.Got < 0 || p.Got > p.Size {
		return p, errors.New("the report cannot be understood: impossible values")
	}
	if len(p.Findings) > maxFindings {
		p.Findings = p.Findings[:maxFindings]
	}
	for i, f := range p.Findings {
		p.Findings[i] = initapi.Finding{
			ID: clip(f.ID, 100), Severity: clip(f.Severity, 20), What: clip(f.What, maxText), Where: clip(f.Where, maxText), Next: clip(f.Next, maxText), Since: f.Since,
		}
	}
	p.Versions = p.clean()
	return p, nil
}

// decodeRefusal gives the error that an answer with a status other than 200 stands for.
func decodeRefusal(data []byte, status string) *Refusal {
	var r refusal
	if json.Unmarshal(data, &r) != nil || r.Error == "" {
		r = refusal{Error: status, Code: CodeFailed}
	}
	if r.State != nil && (r.State.Protocol != Protocol || r.State.check() != nil) {
		r.State = nil
	}
	return &Refusal{Code: Code(clip(string(r.Code), 40)), Msg: clip(r.Error, maxText), state: r.State}
}

// frame puts an offer in front of a piece: its length in four bytes, big-endian, then the offer.
func frame(o Offer) ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode offer: %w", err)
	}
	if len(text) > maxOffer {
		return nil, fmt.Errorf("offer has %d bytes, more than %d", len(text), maxOffer)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text))), text...), nil
}

// readOffer reads what frame wrote and leaves r at the piece. n is how many bytes the offer took.
func readOffer(r io.Reader, own Versions) (o Offer, n int64, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return o, 0, err
	}
	l := binary.BigEndian.Uint32(size[:])
	if l > maxOffer {
		return o, 4, refuse(CodeGarbage, "the offer cannot be understood: it has %d bytes", l)
	}
	text := make([]byte, l)
	if _, err := io.ReadFull(r, text); err != nil {
		return o, 4, err
	}
	o, err = decodeOffer(text, own)
	return o, 4 + int64(l), err
}

// clip cuts text from outside, and takes out what could confuse a terminal.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || !unicode.IsControl(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, s)
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
