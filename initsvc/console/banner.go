package console

import "strings"

// letters are five rows each; only those that the headlines need.
func letters() map[rune][5]string {
	return map[rune][5]string{
		'a': {" ### ", "#   #", "#####", "#   #", "#   #"},
		'b': {"#### ", "#   #", "#### ", "#   #", "#### "},
		'c': {" ####", "#    ", "#    ", "#    ", " ####"},
		'd': {"#### ", "#   #", "#   #", "#   #", "#### "},
		'e': {"#####", "#    ", "#### ", "#    ", "#####"},
		'g': {" ####", "#    ", "#  ##", "#   #", " ####"},
		'h': {"#   #", "#   #", "#####", "#   #", "#   #"},
		'i': {"###", " # ", " # ", " # ", "###"},
		'l': {"#    ", "#    ", "#    ", "#    ", "#####"},
		'm': {"#   #", "## ##", "# # #", "#   #", "#   #"},
		'n': {"#   #", "##  #", "# # #", "#  ##", "#   #"},
		'o': {" ### ", "#   #", "#   #", "#   #", " ### "},
		'p': {"#### ", "#   #", "#### ", "#    ", "#    "},
		'r': {"#### ", "#   #", "#### ", "#  # ", "#   #"},
		's': {" ####", "#    ", " ### ", "    #", "#### "},
		't': {"#####", "  #  ", "  #  ", "  #  ", "  #  "},
		'v': {"#   #", "#   #", "#   #", " # # ", "  #  "},
		'y': {"#   #", " # # ", "  #  ", "  #  ", "  #  "},
	}
}

// Banner writes a word in large letters; a word with a letter that is not drawn comes back in capitals.
func Banner(word string) []string {
	all := letters()
	rows := make([]string, 5)
	for _, r := range word {
		l, ok := all[r]
		if !ok {
			return []string{strings.ToUpper(word)}
		}
		for i := range rows {
			rows[i] += " " + l[i]
		}
	}
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return rows
}
