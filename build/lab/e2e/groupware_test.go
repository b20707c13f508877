package e2e

import "time"

// groupwareItems use the third-party application, a vendor's pack, as its people do: the directory lets them in, appointments are kept in
// the database, and an invitation goes out by mail.
func groupwareItems() []item {
	event := "https://office.office.example/SOGo/dav/bert/Calendar/personal/stocktaking.ics"
	curl := "curl -sSf -m 40 --cacert /tmp/site.crt "
	return []item{{
		"sogo", "appointment of a person of the directory, with an invitation by mail",
		func(b *business) error {
			_, err := b.pc(`cat >/tmp/stocktaking.ics <<X
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//ATLAS//e2e//EN
BEGIN:VEVENT
UID:stocktaking
DTSTAMP:20270101T120000Z
DTSTART:20270105T090000Z
DTEND:20270105T100000Z
SUMMARY:Stocktaking
ORGANIZER;CN=Bert Miller:mailto:bert@office.example
ATTENDEE;CN=Anna;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:anna@office.example
END:VEVENT
END:VCALENDAR
X
` + curl + "-u bert:" + password + " -X PUT -H 'Content-Type: text/calendar' --data-binary @/tmp/stocktaking.ics " + event)
			return err
		},
		func(b *business) error {
			return first(
				func() error { return b.says("SUMMARY:Stocktaking", curl+"-u bert:"+password+" "+event) },
				func() error { return b.refused(curl + "-u bert:wrong " + event) },
				func() error {
					return b.says(`"cn":"Bert Miller"`, curl+`-H 'Content-Type: application/json' -d '{"userName":"bert","password":"`+password+`"}' https://office.office.example/SOGo/connect`)
				},
				func() error {
					return b.refused(curl + `-H 'Content-Type: application/json' -d '{"userName":"bert","password":"wrong"}' https://office.office.example/SOGo/connect`)
				},
				func() error {
					return within(40*time.Second, func() error {
						return b.has("Stocktaking", "grep -rhIs -A1 '^Subject: Event' /home/anna/Maildir || true")
					})
				},
			)
		},
	}}
}
