package verify

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// mailPoll is the pause between two looks into the inbox.
const mailPoll = 150 * time.Millisecond

// probeSubject begins the subject of every message that probes send.
const probeSubject = "ATLAS probe of "

// Mail sends a message to the verification account as a mail program does, waits until it is in the inbox, compares it and deletes it. Both
// connections are encrypted, as with SMTP and IMAP. Parameters: port ("587"), imap (IMAP's port, "993"), user ("atlas-verify"), to (the
// account's address, needed), tls ("start": both from the start, whatever the port).
func Mail(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	next := mailNext(t)
	user, port := t.Param("user", "atlas-verify"), t.Param("imap", "993")
	token := rand.Text()
	subject := probeSubject + t.Observer + " " + token
	if out, ok := sendProbe(ctx, t, user, subject, token, next); !ok {
		return out
	}
	sent := time.Now()
	s, err := openIMAP(ctx, t, port)
	if err != nil {
		return failed("connect to port "+port, err, next)
	}
	defer s.close()
	begin(ctx, stepLogin)
	if err := s.Login(user, t.Secret).Wait(); err != nil {
		return failed("sign in to the mailbox as "+user, inTime(ctx, err), next)
	}
	begin(ctx, stepTransaction)
	if _, err := s.Select("INBOX", nil).Wait(); err != nil {
		return failed("open the inbox", inTime(ctx, err), next)
	}
	uid, err := s.await(ctx, subject)
	if err != nil {
		return failed("find the message in the inbox", inTime(ctx, err), "It may still be in the queue (`mailq` on "+t.Server+" says why). "+next)
	}
	took := time.Since(sent)
	text, err := s.text(uid)
	if err != nil {
		return failed("fetch the message", inTime(ctx, err), next)
	}
	if !strings.Contains(text, token) {
		return failure("the message reads other than sent", next)
	}
	if err := s.clean(subject, t.Observer); err != nil {
		return failed("delete the message", inTime(ctx, err), next)
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("message to %s sent, in the inbox after %.1f s, fetched and deleted", user, took.Seconds())}
}

// sendProbe hands in one message.
func sendProbe(ctx context.Context, t Target, user, subject, token, next string) (Outcome, bool) {
	to := t.Param("to", "")
	if to == "" || strings.ContainsAny(to, "<>\r\n") {
		return misnamed("the probe does not say to which address"), false
	}
	s, err := openSMTP(ctx, t, "587")
	if err != nil {
		return failed("connect to port "+t.Param("port", "587"), err, next), false
	}
	defer s.close()
	begin(ctx, stepLogin)
	if err := s.Auth(sasl.NewPlainClient("", user, t.Secret)); err != nil {
		return failed("sign in to send as "+user, inTime(ctx, err), next), false
	}
	begin(ctx, stepTransaction)
	text := "From: <" + to + ">\r\nTo: <" + to + ">\r\nSubject: " + subject + "\r\nDate: " + time.Now().Format(time.RFC1123Z) +
		"\r\nMessage-ID: <" + token + "@" + probeName + ">\r\nAuto-Submitted: auto-generated\r\n\r\n" + token + "\r\n"
	// From nobody: what cannot be delivered comes back to nobody.
	if err := s.SendMail("", []string{to}, strings.NewReader(text)); err != nil {
		return failed("send a message to "+to, inTime(ctx, err), next), false
	}
	return Outcome{}, true
}

// await looks until a message with this subject is there.
func (s *imapSession) await(ctx context.Context, subject string) (imap.UID, error) {
	for {
		found, err := s.UIDSearch(withSubject(subject), nil).Wait()
		if err != nil {
			return 0, err
		}
		if all := found.AllUIDs(); len(all) > 0 {
			return all[0], nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(mailPoll):
		}
		if err := s.Noop().Wait(); err != nil { // makes the server look for new messages
			return 0, err
		}
	}
}

func (s *imapSession) text(uid imap.UID) (string, error) {
	body := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true}
	got, err := s.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{body}}).Collect()
	if err != nil {
		return "", err
	}
	return joinSections(got, body), nil
}

func joinSections(got []*imapclient.FetchMessageBuffer, body *imap.FetchItemBodySection) string {
	var b strings.Builder
	for _, m := range got {
		b.Write(m.FindBodySection(body))
	}
	return b.String()
}

// clean deletes the message, what interrupted runs of this observer left behind, and what others left yesterday.
func (s *imapSession) clean(subject, observer string) error {
	doomed := imap.UIDSet{}
	old := withSubject(probeSubject)
	old.Before = time.Now().Add(-24 * time.Hour)
	for _, c := range []*imap.SearchCriteria{withSubject(subject), withSubject(probeSubject + observer + " "), old} {
		found, err := s.UIDSearch(c, nil).Wait()
		if err != nil {
			return err
		}
		doomed.AddNum(found.AllUIDs()...)
	}
	if err := s.Store(doomed, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		return err
	}
	return s.Expunge().Close()
}

func withSubject(text string) *imap.SearchCriteria {
	return &imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: text}}}
}
