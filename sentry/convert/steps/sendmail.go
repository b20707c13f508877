package steps

import "sayasystems.com/atlas/sentry/convert"

// Sendmail is carried as it is: its words are the same in all releases. Between it and Postfix nothing is converted.
func Sendmail() []convert.Step {
	return []convert.Step{{
		ID: "sendmail-postfix", Service: "sendmail", Old: 12, Class: convert.Blocking,
		Title:   "Sendmail ↔ Postfix is not converted: both servers run the same of the two",
		Source:  "the packs sendmail and postfix exclude each other",
		Forward: sendmail, Back: sendmail,
	}}
}

func sendmail(w *convert.Work) error {
	if len(w.Changed("etc/postfix/main.cf")) == 0 {
		return nil
	}
	for _, p := range w.Changed("etc/mail/sendmail.mc") {
		w.Tell(convert.Finding{Class: convert.Ignored, Path: p, What: "Sendmail and Postfix are both set up; which of them runs is the image's choice, and neither is said in the other's words."})
	}
	return nil
}
