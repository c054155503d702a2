from .figures import plot_films as plot_films
from .html import figure_png as figure_png
from .html import picture_html as picture_html
from .html import show as show
from .pages import render_page as render_page
from .pages import render_text as render_text
