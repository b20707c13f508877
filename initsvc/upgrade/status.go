package upgrade

import (
	"slices"
	"strconv"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/dataform"
	"sayasystems.com/atlas/sentry/initapi"
)

// Status tells what this image can take, and, if set is true, what the started set has of it.
func (k *Keeper) Status(packs []pack.Pack, set bool) []initapi.DataForm {
	rec := &dataform.Record{}
	if set {
		if r, err := k.load(); err == nil {
			rec = r
		}
	}
	var out []initapi.DataForm
	for _, p := range packs {
		for _, f := range p.Formats {
			d := initapi.DataForm{Service: p.Name, Title: p.Title, Path: f.Path, Kind: f.Kind}
			if !k.takes(&d) {
				continue
			}
			j := job{Keeper: k, service: p.Name, f: f, rec: rec}
			if e := j.entry(); e != nil {
				j.describe(&d, e)
			}
			out = append(out, d)
		}
	}
	return out
}

func (k *Keeper) takes(d *initapi.DataForm) bool {
	var err error
	if d.Kind == dataform.Copy {
		d.Takes, err = strconv.Atoi(k.o.Release)
		return err == nil
	}
	if d.Takes, _, err = k.server(); err != nil {
		return false
	}
	for v := range k.Older() {
		d.Older = append(d.Older, v)
	}
	slices.Sort(d.Older)
	return true
}

func (j job) describe(d *initapi.DataForm, e *dataform.Entry) {
	dir := j.host(j.dataDir(e.Form))
	if there, err := filled(dir); err != nil || !there {
		return
	}
	d.Form, d.Since = e.Form, e.Since
	for _, k := range e.Kept {
		d.Kept = append(d.Kept, k.Form)
	}
	if n, err := size(dir); err == nil {
		d.Bytes, d.Room = n, Need(j.f.Kind, n)
	}
}
