package main

import "sayasystems.com/atlas/initsvc/handover"

func slotGood(handover.Handover) (bool, error) { return true, nil }

func bless(h handover.Handover) error { return onESP(h, 0, func(string) error { return nil }) }
